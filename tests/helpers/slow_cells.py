"""Cells of lessons that the tests run once, because twice would take too long.

All others are run twice in place. These took 4 seconds or more each time, on two cores
that two lessons shared: one of the two times was a quarter of what all lessons took. To
run them twice, too, before a lesson that has changed is handed in:

    EVERY_CELL_TWICE=1 .venv/bin/python -m pytest tests/conftest.py notebooks
"""

SLOW_CELLS = {
    "01_feature_extraction": {
        "cell-04",
        "cell-09",
        "cell-12",
        "cell-29",
        "exercise-2-answer",
        "exercise-3-answer",
        "exercise-4-answer",
    },
    "02_fine_tuning": {
        "cell-19",
        "cell-22",
        "exercise-1-answer",
        "exercise-2-answer",
        "exercise-3-answer",
    },
    "03_vgg16_flowers": {
        "cell-03",
        "cell-07",
        "cell-11",
        "cell-17",
        "cell-25",
        "cell-25-alone",
        "exercise-2-answer",
    },
    "04_gradual_unfreezing": {
        "cell-09",
        "cell-11-start",
        "cell-13",
        "exercise-4-answer-2",
    },
    "05_evaluation_and_explanation": {
        "cell-03",
        "cell-05",
        "cell-35",
        "exercise-3-answer",
    },
    "06_silent_failures": {
        "cell-07",
        "cell-15",
        "cell-41",
        "cell-45",
        "cell-49",
        "cell-54",
        "cell-58",
        "cell-59",
        "exercise-1-answer",
        "exercise-1-check",
        "exercise-2-check",
    },
    "07_your_own_images": {
        "cell-23",
        "cell-25",
        "cell-33",
        "cell-56",
    },
    "08_deploy": {
        "cell-06",
        "cell-08",
        "cell-11",
        "cell-13",
        "cell-16",
        "cell-18",
        "cell-25",
    },
    "09_sentiment_with_bert": {
        "cell-18",
        "cell-31",
        "cell-34",
        "cell-36",
        "cell-38",
        "cell-43",
        "cell-45",
        "cell-50",
    },
    "10_spoken_words": {
        "cell-25-features",
        "cell-35-photos",
        "cell-49-tuned",
        "cell-50-scratch",
        "cell-57-final",
        "cell-58-middle",
        "cell-58-save",
        "exercise-1-answer",
        "exercise-1-check",
    },
    "11_from_drawings_to_photos": {
        "cell-05",
        "cell-08",
        "cell-19",
        "cell-26",
        "cell-31",
        "cell-34",
        "cell-39",
        "cell-40-anew",
        "cell-46",
    },
    "12_two_answers": {
        "cell-08",
        "cell-15",
        "cell-24",
        "cell-49",
        "cell-55",
        "cell-62",
    },
    "13_search_by_picture": {
        "cell-11",
        "cell-51",
    },
}
