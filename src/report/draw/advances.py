"""Writes advances.bin, the measures of the typefaces for builds that have no fonts (no_faces.rs says how it is read).

python3 advances.py FOLDER, where the folder has the font files of the crate `dejavu` (assets/dejavu-fonts-ttf-2.37/ttf).
"""

import struct
import sys
from pathlib import Path


def measures(data):
    tables = {}
    for i in range(struct.unpack(">H", data[4:6])[0]):
        tag, _, offset, length = struct.unpack(">4sIII", data[12 + 16 * i : 28 + 16 * i])
        tables[tag.decode()] = data[offset : offset + length]
    assert struct.unpack(">H", tables["head"][18:20])[0] == 2048
    wide = struct.unpack(">H", tables["hhea"][34:36])[0]
    of_glyph = [struct.unpack(">H", tables["hmtx"][4 * i : 4 * i + 2])[0] for i in range(wide)]
    cmap = tables["cmap"]
    advances = {}
    for i in range(struct.unpack(">H", cmap[2:4])[0]):
        _, _, offset = struct.unpack(">HHI", cmap[4 + 8 * i : 12 + 8 * i])
        if struct.unpack(">H", cmap[offset : offset + 2])[0] != 12:
            continue
        for g in range(struct.unpack(">I", cmap[offset + 12 : offset + 16])[0]):
            first, last, glyph = struct.unpack(">III", cmap[offset + 16 + 12 * g : offset + 28 + 12 * g])
            for c in range(first, last + 1):
                if glyph + c - first:
                    advances[c] = of_glyph[min(glyph + c - first, wide - 1)]
    assert advances
    return of_glyph[0], advances


def packed(box, advances):
    runs = []
    for c in sorted(advances):
        if not runs or runs[-1][0] + len(runs[-1][1]) != c:
            runs.append((c, []))
        runs[-1][1].append(advances[c])
    runs = [struct.pack(f"<IH{len(run)}H", first, len(run), *run) for first, run in runs]
    return struct.pack("<H", box) + b"".join(runs) + struct.pack("<IH", 0, 0)


names = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold"]
fonts = [(Path(sys.argv[1]) / f"{name}.ttf").read_bytes() for name in names]
Path(__file__).with_name("advances.bin").write_bytes(b"".join(packed(*measures(font)) for font in fonts))
