CREATE TABLE {providers} (
    {providers.id}   {provider_id_type} {provider_id_made} PRIMARY KEY,
    {providers.code} text NOT NULL UNIQUE,
    {providers.name} text NOT NULL
)
