#!/usr/bin/env python3
"""Writes tokenizer_unicode_table.h: where, going up through Unicode, the class of code points changes.

  tokenizer_unicode.py > tokenizer_unicode_table.h

The version of Unicode is that of the module: unicodedata2 of the package index where it is installed, else Python's own. The
table in the tree is of 15.1, as the tokenizers that it is compared with."""
try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

LETTER, NUMBER, SPACE, PUNCT = 1, 2, 4, 8
# White_Space=yes in the Unicode Character Database's PropList
WHITE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CLASS = {"L": LETTER, "N": NUMBER, "P": PUNCT}

rows, last = [], None
for point in range(0x110000):
    kind = SPACE if point in WHITE else CLASS.get(unicodedata.category(chr(point))[0], 0)
    if kind != last:
        rows.append(f"0x{point << 4 | kind:x}")
        last = kind
print(f"/* Written by tokenizer_unicode.py from Unicode {unicodedata.unidata_version}: do not edit. Each number is a code point")
print(" * times 16 plus the class that begins there and lasts until the next. */")
line = ""
for row in rows:
    if len(line) + len(row) > 110:
        print(line.rstrip())
        line = ""
    line += row + ", "
print(line.rstrip())
