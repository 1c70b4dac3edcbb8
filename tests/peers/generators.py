"""Seeded random cases of every kind of answer, as data sets and models write them."""

from __future__ import annotations

import random

CASES = 2_000

_NOUNS = (
    "man woman dog cat street bus train table plate kitchen bed horse field beach surfboard wave kite "
    "umbrella giraffe zebra fence tree bench laptop phone pizza sandwich bowl broccoli skateboard ramp "
    "ball player racket court motorcycle sign clock tower building bird boat river bridge vase flowers"
).split()
_ADJECTIVES = (
    "red blue small large young old black-and-white brown wooden double-decker parked open close-up "
    "snow-covered T-shirt-clad well-lit sunny wet empty crowded two three several"
).split()
_VERBS = (
    "sitting standing riding holding eating looking flying walking playing waiting jumping".split()
)
_PLACES = "on in near behind next-to under above across over beside".split()
_TAILS = [
    *(
        "",
        "",
        "",
        ".",
        ".",
        " .",
        "!",
        ", and it's raining.",
        " with the owner's hat on.",
        "; it is dark.",
    ),
    *(
        " (blurry).",
        ' with a sign that says "stop".',
        " - a nice day",
        " while others don't look.",
        "...",
    ),
    *(
        " in the 1990s.",
        " at 10:30 am.",
        ", which can't move.",
        " & a friend.",
        "?",
        " on St. Mark's square.",
    ),
]
_BRANDS = (
    "Coca-Cola AT&T H&M M&M's Johnson&Johnson B&B Ben&Jerry's 7-Eleven Dr. Pepper Yahoo! McDonald's "
    "L'Oreal Levi's Toys R Us Wi-Fi iPhone 6s Windows 8.1 Nike 3M Barnes & Noble Marks & Spencer "
    "Procter&Gamble A&W P&G Q&A R&D Dell Inc. Apple Inc. St. Louis Mt. Rainier U.S. U.S.A. U.K. D.C."
)
_BRAND_LIST = [
    *_BRANDS.split(" "),
    "Dr. Pepper",
    "Barnes & Noble",
    "Toys R Us",
    "Dell Inc.",
    "Mt. Rainier",
]
_TEXTS = [
    *(
        "www.nike.com",
        "http://www.foo.org/a?b=1",
        "https://bit.ly/2xYz",
        "facebook.com/pages",
        "info@x.com",
    ),
    *(
        "the '90s",
        "1980's",
        "'09",
        "#throwback",
        "#1",
        "@nasa",
        "10%",
        "$5.99",
        "\u00a320",
        "\u20ac3.50",
        "5\u00a2",
    ),
    *(
        "-3.5",
        "+40",
        "1.5L",
        "20\u00b0C",
        "5'10",
        '6"',
        "1/2",
        "3.5-inch",
        "12-pack",
        "10:45",
        "1,000",
        "24/7",
    ),
    *(
        "4K",
        "No. 5",
        "No.1",
        "Vol. 2",
        "pp. 12",
        "(555) 123-4567",
        "555-1234",
        "1-800-FLOWERS",
        "2012-05-01",
    ),
    *(
        "5/6/2014",
        "SALE!!",
        "What?!",
        "rock'n'roll",
        "o'clock",
        "don't",
        "can't",
        "I'm",
        "cannot",
        "gonna",
    ),
    *(
        "\U0001f600",
        "\u2665",
        "\u2122",
        "caf\u00e9",
        "na\u00efve",
        ":)",
        "<3",
        "A+",
        "C++",
        "C#",
        "*new*",
        "~100",
    ),
    *(
        "e.g.",
        "i.e.",
        "etc.",
        "vs.",
        "a.m.",
        "p.m.",
        "[sic]",
        "{x}",
        "a/b",
        "and/or",
        "x2",
        "2x4",
        "it\u2019s",
    ),
    *(
        "\u201cHello\u201d",
        "\u2014",
        "\u2013",
        "one\u2014two",
        "Jan. 5",
        "Fri.",
        "1st",
        "2nd",
        "30mph",
        "5kg",
        "B-52",
    ),
]


def caption(rng: random.Random) -> str:
    """Write a caption as COCO's annotators do."""
    words = [rng.choice(["A", "The", "a", "An", "Two", "Some"]), rng.choice(_ADJECTIVES)]
    words += [rng.choice(_NOUNS), rng.choice(_VERBS), rng.choice(_PLACES), "a", rng.choice(_NOUNS)]
    if rng.random() < 0.4:
        words += ["and", "the", rng.choice(_NOUNS) + rng.choice(["", "", "s", "'s", "s'"])]
    return " ".join(words) + rng.choice(_TAILS)


def text_caption(rng: random.Random) -> str:
    """Write a caption of a text in a picture, as TextCaps' annotators do."""
    text = rng.choice(_TEXTS + _BRAND_LIST)
    words = [
        rng.choice(["A", "The"]),
        rng.choice(_NOUNS),
        rng.choice(["that says", "from", "reads", "with"]),
    ]
    words.append(rng.choice(['"{}"', "{}", "{}", "{},", "'{}'", "({})", "{}:", "{};"]).format(text))
    if rng.random() < 0.6:
        words += [rng.choice(["and", "by", "on", "or"]), rng.choice(_TEXTS + _BRAND_LIST)]
    if rng.random() < 0.4:
        words += [rng.choice(_PLACES), "a", rng.choice(_NOUNS)]
    return " ".join(words) + rng.choice(["", ".", ".", "!", "?"])


def varied(rng: random.Random, text: str) -> str:
    """Rewrite a caption a little: words are dropped, changed and swapped."""
    words = text.split(" ")
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(words))
        if rng.random() < 0.4 and len(words) > 2:
            words.pop(place)
        elif rng.random() < 0.6:
            words[place] = rng.choice(_NOUNS)
        else:
            words.insert(place, rng.choice(_ADJECTIVES))
    return " ".join(words)


_ANSWERS = (
    "yes|no|2|two|none|red|blue and white|a dog|the dog|an apple|on the table|1,000|10,000|3.5|10:30|"
    "don't know|dont know|can't tell|cant|it's|its|he's|hes|y'all|o'clock|t-shirt|t shirt|black & white|"
    'black/white|left-hand|$5|5%|#1|main st.|dr. pepper|u.s.a.|yes.|No!|Yes, it is|"stop"|(stop)|a|the|'
    "ten|zero|one|coca-cola|new york, ny|men's|women's|it is 5 o'clock|what?|1.5 l|.5|2.|tennis racket|"
    "grass; trees|@home|x-box|100 %|somebody'd|shouldve|couldn'tve|im|id've|they've|caf\u00e9|12:00 pm|a.m."
).split("|")


def vqa_answer(rng: random.Random) -> str:
    """Write a short answer of visual question answering."""
    parts = [rng.choice(_ANSWERS) for _ in range(rng.choice([1, 1, 1, 2]))]
    text = rng.choice([" ", " ", ", ", " and ", "-", "/"]).join(parts)
    change = rng.random()
    if change < 0.2:
        text = text.capitalize() + rng.choice(["", ".", "!", "?", ","])
    elif change < 0.3:
        text = f"{rng.choice(['a', 'the', 'An', ''])} {text} "
    return text


def vqa_question(rng: random.Random) -> tuple[str, list[str]]:
    """Write a prediction and its ten annotators' answers, of which some agree with it."""
    pool = [vqa_answer(rng) for _ in range(rng.choice([1, 2, 3, 5]))]
    answers = [rng.choice(pool) for _ in range(10)]
    return rng.choice([*pool, vqa_answer(rng)]), answers


_STRINGS = [
    *(
        "R. J. Reynolds",
        "1/8/93",
        "$ 1,234.00",
        "University of California, San Diego",
        "0.28",
        "the meeting",
    ),
    *(
        "Itc limited",
        "P. CARTER",
        "4:30 p.m.",
        "john.doe@mail.com",
        "(212) 555-0100",
        "vitamin C",
        "12%",
        "II",
    ),
    *(
        "Dear Sir",
        "M\u00fcnchen",
        "No",
        "500,000 units",
        "TABLE 4",
        "april 24, 1967",
        "$100",
        "brand\u00ae",
    ),
]


def typed(rng: random.Random) -> tuple[str, list[str]]:
    """Write a text of a document with slips of reading, and its references."""
    references = rng.sample(_STRINGS, rng.choice([1, 1, 2, 3]))
    letters = list(rng.choice([*references, rng.choice(_STRINGS)]))
    for _ in range(rng.randrange(7)):
        place = rng.randrange(len(letters) + 1)
        letters[place : place + rng.randrange(2)] = rng.choice(["", "x", " ", "O", "."])
    return rng.choice([str, str.upper, str.lower])("".join(letters)), references


def number(rng: random.Random) -> tuple[str, str]:
    """Write a number or word of a chart, and the reference."""
    value = rng.choice([0, rng.uniform(-50, 200), rng.randrange(1900, 2030), rng.random()])
    off = value * rng.choice([1, 1.05, 0.95, 1.049, 1.051, rng.uniform(0.9, 1.1)])
    form = rng.choice(
        ["{:.2f}", "{:.0f}", "{:g}", "{:.1f}%", "{:,.0f}", "{:.3e}", " {:.2f}", "${:.2f}"]
    )
    words = [
        "Yes",
        "yes",
        "No",
        "Italy",
        "italy ",
        "",
        "nan",
        "inf",
        "12 %",
        "0",
        "0.0",
        "Dark blue",
    ]
    if rng.random() < 0.2:
        return rng.choice(words), rng.choice(words)
    other = rng.choice([form, form, "{:g}", "{:.2f}"])
    return form.format(off), other.format(value)


def box_answer(rng: random.Random) -> tuple[str, list[float]]:
    """Write an answer with a box near the right one, in one of many forms, and the right box."""
    x, y = rng.uniform(0, 0.6), rng.uniform(0, 0.6)
    right = [
        round(side, 3) for side in (x, y, x + rng.uniform(0.1, 0.4), y + rng.uniform(0.1, 0.4))
    ]
    near = [round(side + rng.gauss(0, 0.05), 3) for side in right]
    if rng.random() < 0.1:
        near = [near[2], near[3], near[0], near[1]]
    inside = rng.choice([", ", ",", " , "]).join(f"{side:g}" for side in near)
    forms = [
        "[{}]",
        "[{}]",
        "[ {} ]",
        "It is at [{}].",
        "1. [{}]",
        "Image 1: [{}]",
        "({})",
        "{}",
        "<box>[{}]</box>",
    ]
    answer = rng.choice(forms).format(inside)
    return rng.choice(
        [answer, answer, answer, "I see none.", answer + " or [0.1, 0.1, 0.2, 0.2]"]
    ), right


def letter_answer(rng: random.Random, options: list[str]) -> str:
    """Write an answer to a question of multiple choice."""
    place = rng.randrange(len(options))
    letter = chr(ord("A") + place)
    forms = [
        "{0}",
        "{0}.",
        "{0}. {1}",
        "({0})",
        "{1}",
        "The answer is {0}.",
        "{0}: {1}",
        "{2}",
        " {0} ",
        "{2}. {1}",
    ]
    return rng.choice(forms).format(letter, options[place], letter.lower())
