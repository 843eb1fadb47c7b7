"""How the outside learns of us: snapshot, pings, HTTP."""
