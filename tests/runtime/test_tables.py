"""The same rows as text, as Markdown and as HTML."""

from keras_transfer.runtime.tables import html_table, markdown_table, text_table

ROWS = [("name", "count", "kind"), ("a|b", "7", "<x>"), ("c", "1,000", "")]


def test_text_has_words_to_the_left_and_numbers_to_the_right():
    assert text_table(ROWS, words=(0, 2)).splitlines() == [
        "name  count  kind",
        "a|b       7  <x>",
        "c     1,000",
    ]
    assert text_table(ROWS, (0, 2), rule=True).splitlines()[1] == "----  -----  ----"
    assert text_table(ROWS[:1], rule=True) == "name  count  kind\n----  -----  ----"


def test_columns_of_a_terminal_are_counted_and_not_letters():
    # A Chinese letter takes two, an accent that follows its letter none.
    rows = [("name", "count"), ("\u73ab\u7470", "7"), ("e\u0301te\u0301", "12")]
    assert text_table(rows).splitlines() == [
        "name  count",
        "\u73ab\u7470      7",
        "e\u0301te\u0301      12",
    ]


def test_a_cell_ends_no_column_of_markdown():
    assert markdown_table(ROWS).splitlines() == [
        "| name | count | kind |",
        "| --- | --- | --- |",
        r"| a\|b | 7 | <x> |",
        "| c | 1,000 |  |",
    ]


def test_html_shows_what_a_cell_holds():
    page = html_table(ROWS)
    assert page.count("<tr>") == 3
    assert page.startswith("<table><thead><tr><th>name</th>")
    assert "<td>a|b</td><td>7</td><td>&lt;x&gt;</td>" in page
