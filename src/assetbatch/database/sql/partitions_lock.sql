-- Nobody reads or writes bars while partitions are added: who had looked up the partitions before would miss bars
-- that are moved into a new one.
LOCK TABLE {bars} IN ACCESS EXCLUSIVE MODE;
