-- Whether row level security holds for this role on the table of symbols.
SELECT row_security_active({symbols.text});
