-- Whether a call to the provider was ever made: one row, written before the first. A server whose log of calls is
-- gone is trusted at once only where there is none (see state/window.py). Outcomes that are there already came from
-- calls, whoever made them.
CREATE TABLE IF NOT EXISTS data_sources.assetbatch_calls (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    first_call_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO data_sources.assetbatch_calls (only_row)
SELECT true
WHERE EXISTS (
        SELECT FROM {sync_status} d
        JOIN {providers} p ON {providers.id[p]} = {sync_status.provider_id[d]}
        WHERE {providers.code[p]}::text = {provider}
    ) OR EXISTS (SELECT FROM data_sources.assetbatch_spans s WHERE s.asked_at IS NOT NULL)
ON CONFLICT DO NOTHING;
