raise SystemExit("a plugin for another contract was imported")
