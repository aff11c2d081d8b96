CREATE OPERATOR FAMILY fam USING btree;
ALTER OPERATOR FAMILY fam USING btree ADD OPERATOR 3 = (int4, int8), OPERATOR 1 < (int8, int4),
    FUNCTION 1 btint84cmp(int8, int4);
