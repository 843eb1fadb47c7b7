"""How others learn about assetbatch: snapshot, files, pings, HTTP."""
