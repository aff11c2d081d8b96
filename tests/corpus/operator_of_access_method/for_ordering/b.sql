CREATE OPERATOR FAMILY fam USING gist;
CREATE OPERATOR CLASS cls FOR TYPE point USING gist FAMILY fam AS STORAGE box,
    OPERATOR 1 <<, FUNCTION 1 gist_point_consistent(internal, point, smallint, oid, internal),
    FUNCTION 2 gist_box_union(internal, internal), FUNCTION 5 gist_box_penalty(internal, internal, internal),
    FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal);
ALTER OPERATOR FAMILY fam USING gist ADD OPERATOR 15 <-> (point, point) FOR ORDER BY float_ops;
