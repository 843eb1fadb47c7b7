"""`python -m assetbatch`."""

from assetbatch.cli import main

main()
