"""Tables that tools write into documents, between two markers."""


def write_table(doc, markers, rows):
    """Puts `rows`, the first of them headings, the second the line below these, between the two `markers` of the file `doc`."""
    begin, end = markers
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    before, rest = doc.read_text().split(begin)
    doc.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}")
