"""Writes cli.md, the help of every command; with --check, only says whether it is current."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

os.environ.update(TYPER_USE_RICH="0", COLUMNS="80")  # plain text, as wide everywhere

from neuvid.cli.main import COMMANDS, main

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

    neuvid encode talk.mp4 talk.nvid --quality 40
    neuvid decode talk.nvid talk.mkv
    neuvid decode talk.nvid pictures/ --seek 12.5
    cat talk.y4m | neuvid encode - - | neuvid decode - - | ffplay -

Each command tells its options at the end of this page, which `docs/make_cli.py` makes of `--help`.
`python -m neuvid` is `neuvid`.

## Exit codes and outputs

| code | when |
| --- | --- |
| 0 | all went well |
| 1 | `--keep-going` met damage, or a part of an evaluation failed |
| 2 | one line `neuvid: error: ...` names the cause |
| 130, 143 | after Ctrl-C, SIGTERM |

Output files appear when they are whole: whatever goes wrong, no part of one is left. A pipe or a
device is written to as it is, and a symbolic link stays one. On long work a line of progress a minute
is printed where standard error is no terminal.

## What comes back of a file

| | to mkv and webm | to mp4, m4v and mov | to y4m, yuv and pictures |
| --- | --- | --- | --- |
| pictures | H.264 (webm: VP9) that looks the same | H.264 that looks the same | exactly as decoded, but RGB is 4:4:4 in y4m, told |
| times of frames, also uneven ones, and how long the last one lasts | to the millisecond | yes | one frame rate; told where it is not theirs |
| turned and mirrored pictures | yes | yes | written upright |
| pixel aspect, matrix, range, primaries, transfer, chroma siting | yes, but webm has no pixel aspect, told | yes | y4m: aspect, range, siting |
| transparency, interlacing, more than 8 bits, 4:2:2 and 4:4:4, mastering display and light levels of HDR | no, told at encoding | no, told at encoding | no, told at encoding |
| sound | the same packets: any codec that Matroska holds, G.711, ADPCM, WMA and LATM too; webm: Opus and Vorbis | the same packets: AAC, MP3, AC-3, ALAC, PCM and more; G.711 and AMR in mov alone | no, told |
| priming and padding of sound, which are not played | yes | yes, but FFmpeg plays the padding of Opus, Vorbis and DTS | |
| subtitles | SRT, ASS, WebVTT (webm: WebVTT alone); other text as SRT (webm: WebVTT) without styles, told | mov_text; other text as mov_text without styles, told | no, told |
| chapters | yes | yes | no, told |
| tags (title, artist, ...) | yes | those that mp4 has names for; others told | no, told |
| languages and titles of streams, flags of sound and subtitles | yes | yes, but mov has no word for rare languages, and of the flags only the default; mp4 has most | |
| closed captions inside pictures, timecodes, fonts, covers, further videos, data | no, told at encoding | no, told at encoding | no, told at encoding |

"Told" is a line `neuvid: note: ...`, at decoding unless it says otherwise.

## Times and pictures

Times begin near zero, whatever a recording's clock said, and go on where it starts again. Where a
file tells no times of frames, or wrong ones, they are FFmpeg's best effort. `--start` in a transport
stream goes to the place that its clock tells, where looks at it every two seconds before show that
it runs on; else all that comes before is read, some 3 seconds for each half an hour.

Pictures (png, jpg, webp, bmp, tif), alone or a folder of them, are turned as their Exif says. Those
that move (png, gif, webp, avif) are clips; png and webp in a folder give their first picture. A
photograph in tiles (HEIC) is refused.

## Commands
"""


def help_of(command: list[str]) -> str:
    """Return a section with the help of a command."""
    text = io.StringIO()
    with redirect_stdout(text):
        main([*command, "--help"])
    return f"\n### {' '.join(['neuvid', *command])}\n```\n{text.getvalue().strip()}\n```\n"


def page() -> str:
    """Return what cli.md should hold."""
    commands: list[list[str]] = [[], *([name] for name in COMMANDS)]
    commands += [["data", "prepare"], ["data", "pack"]]
    return HEAD + "".join(map(help_of, commands))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
