"""`python -m neuvid` is `neuvid`."""

from neuvid.cli.main import run

run()
