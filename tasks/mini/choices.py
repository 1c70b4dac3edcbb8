"""Subjects of each task (concepts, countries, meanings, kinds) and the wording of prompts."""

PROMPTS = {
    "emoji_caption": (
        "describe the picture.",
        "what is in this picture?",
        "write a short caption for the picture.",
    ),
    "flag_country": (
        "which country has this flag?",
        "whose flag is this?",
        "name the country of this flag.",
    ),
    "flag_capital": (
        "what is the capital of the country with this flag?",
        "name the capital of this flag's country.",
    ),
    "flag_continent": (
        "on which continent is the country with this flag?",
        "name the continent of this flag's country.",
    ),
    "sign_meaning": (
        "what does this sign mean?",
        "what does this traffic sign tell the driver?",
        "give the meaning of the road sign.",
    ),
    "digit": (
        "which digit is written here?",
        "read the handwritten digit.",
        "what number do you see?",
    ),
    "word": ("which word is written here?", "read the word.", "what does the text say?"),
    "textile": (
        "does the cloth have a fault?",
        "is this fabric faulty?",
        "is there a defect in the weave?",
    ),
    "animal": (
        "which animal is this the outline of?",
        "name the animal.",
        "what animal has this silhouette?",
    ),
    "emoji_kind": ("what kind of thing is this?", "which kind of thing does the picture show?"),
    "clipart_kind": ("what is the drawing about?", "which subject does this drawing belong to?"),
    "sign_kind": ("what type of sign is this?", "which type of road sign do you see?"),
}

EMOJI_CONCEPTS = """
grinning face, face with tears of joy, crying face, angry face, sleeping face, winking face, nerd
face, smiling face with sunglasses, smiling face with heart-eyes, face with tongue, cat face, dog
face, monkey face, rabbit face, tiger face, pig face, cow face, horse face, penguin, tropical
fish, turtle, snail, octopus, butterfly, red apple, green apple, lemon, watermelon, grapes,
strawberry, banana, hamburger, hot dog, french fries, doughnut, birthday cake, ice cream, beer
mug, wine glass, red heart, blue heart, green heart, yellow heart, broken heart, automobile,
police car, fire engine, bicycle, airplane, rocket, sailboat, sun, crescent moon, umbrella,
snowman, rainbow, alarm clock, mobile phone, soccer ball, american football, trophy, guitar,
christmas tree, sunflower, palm tree, cactus
"""
KEPT_FROM_KINDS = tuple(" ".join(label.split()) for label in EMOJI_CONCEPTS.split(","))
EMOJI_CAPTIONS: tuple[str, ...] = (
    *("cat face", "penguin", "turtle", "octopus", "butterfly", "red apple", "lemon", "watermelon"),
    *("grapes", "strawberry", "banana", "doughnut", "red heart", "green heart", "airplane"),
    *("crescent moon", "umbrella", "rainbow", "soccer ball", "cactus"),
)

# Disjoint sets of countries, by ISO code.
FLAG_COUNTRY = "jp br ca fr de it in cn ke mx no gr ch jm kr au us sa th za".split()
FLAG_CAPITAL = "es pt se gb ie pk vn cu ar eg lb np qa ua dk fi ge uy bd my".split()
FLAG_CONTINENT = {
    "africa": "gh ng tz so na zw dz ma".split(),
    "asia": "lk kz jo mn bt kh om ph".split(),
    "europe": "be nl at is hu hr al bg".split(),
    "north america": "pa cr gt bs bb hn ht tt".split(),
    "oceania": "nz fj tv pg ki ws pw nr".split(),
    "south america": "co cl pe bo ve py gy ec".split(),
}

EMOJI_KINDS = {
    "face": ("face/face-",),
    "person": ("person/person-role", "person/person-activity", "person/person-sport"),
    "animal": ("nature/animal-",),
    "plant": ("nature/plant-",),
    "food": ("food/food-",),
    "vehicle": ("travel/transport-ground", "travel/transport-water", "travel/transport-air"),
    "building": ("travel/place-building", "travel/place-religious"),
    "clothing": ("object/clothing",),
}
NOT_A_VEHICLE = """
station, bus stop, motorway, railway track, oil drum, fuel pump, police car light, construction,
horizontal traffic light, vertical traffic light, stop sign, anchor, seat, satellite, mountain
railway
"""
NOT_OF_KIND = frozenset(" ".join(label.split()) for label in NOT_A_VEHICLE.split(",")) | {
    "building construction",
    "wedding",
    "kaaba",
    "statue of liberty",
    "prayer beads",
    "lipstick",
    "gem stone",
    "goal net",
    "horse racing",
    "spider web",
    "spiral shell",
    "pig nose",
    "paw prints",
    "rosette",
    "skull",
    "skull and crossbones",
    "pile of poo",
    "alien monster",
    "brick",
    "rock",
    "wood",
    "nest with eggs",
    "empty nest",
    "white flower",
}

# Folders of the clip art, each without the folders in it.
CLIPART_KINDS = {
    "animal": (
        "animals",
        "animals/birds",
        "animals/bugs",
        "animals/dinosaurs",
        "animals/fish",
        "animals/mammals",
        "animals/mammals/big_cats",
        "animals/mammals/dogs",
        "animals/mammals/horses",
        "animals/mammals/housecats",
    ),
    "food": ("food", "food/breads_and_carbs", "food/desserts", "food/fruit", "food/vegetables"),
    "person": ("people", "people/stickmen"),
    "vehicle": ("transportation", "transportation/vehicles", "transportation/vehicles/hummers"),
    "playing card": (
        "recreation/games/cards/bordered",
        "recreation/games/cards/ornamental",
        "recreation/games/cards/simple",
        "recreation/games/cards/white",
    ),
    "house": ("buildings", "buildings/homes"),
    "music": ("recreation/music",),
    "smiley": ("people/smilies",),
}
# Titles of clip art that lies in the folder of another kind.
NOT_IN_CLIPART = frozenset("sign signs signal nosmoke lighthouse faro tandem".split())

SIGN_KINDS = {
    "regulatory": "rule",
    "warning": "warning",
    "information": "information",
    "complementary": "extra plate",
}

# Meaning of signs to a driver, by a pattern of their file's name.
SIGN_MEANINGS = {
    "speed limit": r"regulatory--maximum-speed-limit-\d+",
    "railroad crossing": r"warning--railroad-",
    "bend": r"warning--(curve|turn|double-curve|double-turn|hairpin|winding-road|double-reverse)",
    "animals": r"warning--(wild|domestic|camel|elephant|emu|horse|kiwi|koala|wombat)",
    "pedestrians": r"warning--(pedestrians-crossing|children)",
    "no parking": r"regulatory--no-(parking|stopping)",
    "end of limit": r"regulatory--end-of-(maximum|minimum|speed)",
    "road works": r"warning--roadworks",
    "junction": r"warning--(crossroads|junction|t-roads|y-roads|skewed|offset-roads)",
    "no turn": r"regulatory--no-(left|right|u)-turn",
    "tunnel": r"warning--tunnel",
    "traffic lights": r"warning--traffic-signals",
    "stop": r"regulatory--stop--",
    "no overtaking": r"regulatory--no-overtaking",
}

# Signs whose last designs are held out; of other signs, all designs are held out or none.
SIGNS_SPLIT_BY_DESIGN = frozenset(
    """
regulatory--keep-left regulatory--keep-right regulatory--no-heavy-goods-vehicles
regulatory--no-left-turn regulatory--no-motor-vehicles regulatory--no-overtaking
regulatory--no-parking regulatory--no-pedestrians regulatory--no-stopping regulatory--stop
regulatory--weight-limit information--parking warning--children warning--crossroads
warning--divided-highway warning--domestic-animals warning--low-flying-aircraft
warning--pedestrians-crossing warning--roadworks warning--roundabout warning--steep-descent
warning--tractors warning--traffic-signals warning--tunnel warning--two-way-traffic
warning--wild-animals
""".split()
)
