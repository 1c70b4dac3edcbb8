"""All metrics and objectives of trials: formula, names in the field, and direction."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A metric's formula and names, as the report shows them."""

    formula: str
    also_called: str
    higher_is_better: bool


GLOSSARY: dict[str, Entry] = {
    "final_average": Entry("mean_j a[T][j]", "MFN, Last, AP, OP, AA", True),
    "average_over_stages": Entry("mean_t mean_{j≤t} a[t][j]", "MAA, Avg, AIA", True),
    "average_over_columns": Entry(
        "mean_j mean_{t≥j} a[t][j]: a task counts as much as any other, however long it was known",
        "Avg (of tables with a mean for each task)",
        True,
    ),
    "learning_average": Entry("mean_t a[t][t]", "MFT, plasticity", True),
    "forgetting": Entry(
        "mean_{j<T} (max_{j≤l<T} a[l][j] - a[T][j]), l over the evaluated stages from the task's own on",
        "F",
        False,
    ),
    "chaudhry_forgetting": Entry(
        "mean_{j<T} (max_{1≤l<T} a[l][j] - a[T][j]), l over all earlier stages, each evaluated",
        "F_T (Chaudhry 2018, eq. 3)",
        False,
    ),
    "backward_transfer": Entry("mean_{j<T} (a[T][j] - a[j][j])", "BWT (Lopez-Paz)", True),
    "backward_transfer_coin": Entry(
        "(1/T) Σ_{j≤T} (a[T][j] - a[j][j]), whose last term is 0: (T-1)/T of backward_transfer",
        "BWT (CoIN)",
        True,
    ),
    "backward_transfer_clmm": Entry(
        "mean_j min_t (a[T][j] - a[t][j]), all learned tasks j, all evaluated rows t = 0..T",
        "BWT in the code of the founding paper",
        True,
    ),
    "forward_transfer": Entry(
        "mean_{j≥2} (a[j-1][j] - a[0][j]), a[0]: the model before any stage",
        "FWT (Lopez-Paz, whose a[0] is a random start's)",
        True,
    ),
    "intransigence": Entry(
        "mean_j (J[j] - a[j][j]), J: joint tuning on all tasks",
        "the mean of I_k (Chaudhry, whose J[k] is joint tuning on tasks 1..k)",
        False,
    ),
    "relative_final": Entry(
        "mean_j a[T][j] / s[j], s: each task tuned alone", "relative to single-task tuning", True
    ),
    "initial_average": Entry("mean_i a[T][i], i: the initial tasks", "", True),
    "initial_forgetting": Entry(
        "mean_i (max_{0≤l<T} a[l][i] - a[T][i]), i: the initial tasks", "", False
    ),
    "general_average": Entry(
        "mean_g a[T][g], g: the general tasks, which nothing trains", "", True
    ),
    "general_drift": Entry(
        "mean_g (a[0][g] - a[T][g]): the loss of general ability since before the first stage",
        "",
        False,
    ),
    "general_kl": Entry(
        "mean_g KL(p_0 || p_T) in nats per token of the true answers, p_0: the untrained model",
        "KL to the base model",
        False,
    ),
    "worst_ordering": Entry("the worst final_average of the orderings", "", True),
    "final_average_std": Entry(
        "sample standard deviation of final_average over the orderings; 0 for one ordering",
        "",
        False,
    ),
    "train_seconds": Entry(
        "sum of the seconds that training its stages took, initial and shared stages included",
        "",
        False,
    ),
    "retrieval_accuracy": Entry(
        "share of a task's examples that are answered by its own expert", "", True
    ),
    "oracle_score": Entry(
        "the score if each example were answered by its own task's expert", "oracle routing", True
    ),
    "stored_bytes": Entry(
        "bytes held at the end beside the model: examples, logits, importances, keys, further experts",
        "memory",
        False,
    ),
    "added_parameters": Entry(
        "parameters beyond finetune's: weights that grew in place, further experts and keys",
        "",
        False,
    ),
    "format_compliance": Entry("share of answers that obey the task's answer format", "MIF", True),
    "constrained_accuracy": Entry(
        "the task's metric of the nearest answers of its own answer set, chosen after the fact",
        "",
        True,
    ),
}
WITH_REFERENCE = ("intransigence", "relative_final")
OF_INITIAL = ("initial_average", "initial_forgetting")
OF_GENERAL = ("general_average", "general_drift")
GENERAL_KL = "general_kl"
"""Further score of general tasks after every stage, and its mean at the end."""
RETRIEVAL = ("retrieval_accuracy", "oracle_score")
"""Further scores of strategies that choose an expert for each example."""
