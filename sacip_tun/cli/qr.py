"""A QR code in the terminal, as phones scan it."""

import io

import segno

# White on black, whatever the terminal's own colours are: a code in inverse is not read by all.
BEGIN, END = "\x1b[97;40m", "\x1b[0m"
# ISO/IEC 18004 wants four modules of light around it.
BORDER = 4


def drawn(text: str) -> str:
    """Return the code of a text: half a line of the terminal for each row of it."""
    code = segno.make(text, error="l", micro=False)
    drawing = io.StringIO()
    code.terminal(drawing, border=BORDER, compact=True)
    lines = drawing.getvalue().splitlines()
    return "\n".join(f"{BEGIN}{line}{END}" for line in lines)
