SELECT CAST(%(value)s::text AS {type});
