-- Whether the provider's row is there: no migration can keep anybody from deleting it.
SELECT EXISTS (SELECT FROM {providers} p WHERE {providers.code[p]}::text = {provider} AND {providers.ours[p]});
