"""Setting up an installation: its files, and who starts its commands.

`files` plans what is written; `starts` says what is started and how often; `crontab` and `systemd` install
it. Deciding is pure and apart from doing in each of them.
"""
