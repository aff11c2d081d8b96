-- version: 0.8.0
-- relocatable: true
CREATE TYPE vector;
CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector IMMUTABLE STRICT LANGUAGE internal AS 'textin';
CREATE FUNCTION vector_out(vector) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer IMMUTABLE STRICT LANGUAGE internal AS 'bittypmodin';
CREATE TYPE vector (INPUT = vector_in, OUTPUT = vector_out, TYPMOD_IN = vector_typmod_in, STORAGE = external);
CREATE TYPE halfvec;
CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec IMMUTABLE STRICT LANGUAGE internal AS 'textin';
CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer IMMUTABLE STRICT LANGUAGE internal AS 'bittypmodin';
CREATE TYPE halfvec (
  INPUT = halfvec_in, OUTPUT = halfvec_out, TYPMOD_IN = halfvec_typmod_in, STORAGE = external);
CREATE TYPE sparsevec;
CREATE FUNCTION sparsevec_in(cstring, oid, integer)
  RETURNS sparsevec IMMUTABLE STRICT LANGUAGE internal AS 'textin';
CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
CREATE FUNCTION sparsevec_typmod_in(cstring[])
  RETURNS integer IMMUTABLE STRICT LANGUAGE internal AS 'bittypmodin';
CREATE TYPE sparsevec (
  INPUT = sparsevec_in, OUTPUT = sparsevec_out, TYPMOD_IN = sparsevec_typmod_in, STORAGE = external);
CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector IMMUTABLE STRICT LANGUAGE sql AS 'SELECT $1';
CREATE CAST (vector AS vector) WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;
CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector IMMUTABLE STRICT;
CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector IMMUTABLE STRICT;
CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[] IMMUTABLE STRICT;
CREATE CAST (real[] AS vector) WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS vector)
  WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
CREATE FUNCTION l2_distance(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION l1_distance(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION inner_product(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION cosine_distance(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION vector_dims(vector) RETURNS integer IMMUTABLE STRICT;
CREATE FUNCTION vector_norm(vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION l2_normalize(vector) RETURNS vector IMMUTABLE STRICT;
CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS double precision IMMUTABLE STRICT;
CREATE OPERATOR <-> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance, COMMUTATOR = <->);
CREATE OPERATOR <#> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product, COMMUTATOR = <#>);
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance, COMMUTATOR = <=>);
CREATE OPERATOR <+> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance, COMMUTATOR = <+>);
-- An index method needs a handler; any that PostgreSQL has lets an index be created on an empty table.
CREATE FUNCTION ivfflathandler(internal) RETURNS index_am_handler LANGUAGE internal AS 'gisthandler';
CREATE FUNCTION hnswhandler(internal) RETURNS index_am_handler LANGUAGE internal AS 'gisthandler';
CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER ivfflathandler;
CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnswhandler;
CREATE OPERATOR CLASS vector_l2_ops DEFAULT FOR TYPE vector USING ivfflat AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_l2_squared_distance(vector, vector), FUNCTION 2 vector_l2_squared_distance(vector, vector),
  FUNCTION 3 vector_l2_squared_distance(vector, vector), FUNCTION 4 vector_l2_squared_distance(vector, vector),
  FUNCTION 5 vector_l2_squared_distance(vector, vector), FUNCTION 6 vector_l2_squared_distance(vector, vector),
  FUNCTION 7 vector_l2_squared_distance(vector, vector);
CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING ivfflat AS
  OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_negative_inner_product(vector, vector), FUNCTION 2 vector_negative_inner_product(vector, vector),
  FUNCTION 3 vector_negative_inner_product(vector, vector), FUNCTION 4 vector_negative_inner_product(vector, vector),
  FUNCTION 5 vector_negative_inner_product(vector, vector), FUNCTION 6 vector_negative_inner_product(vector, vector),
  FUNCTION 7 vector_negative_inner_product(vector, vector);
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING ivfflat AS
  OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 cosine_distance(vector, vector), FUNCTION 2 cosine_distance(vector, vector),
  FUNCTION 3 cosine_distance(vector, vector), FUNCTION 4 cosine_distance(vector, vector),
  FUNCTION 5 cosine_distance(vector, vector), FUNCTION 6 cosine_distance(vector, vector),
  FUNCTION 7 cosine_distance(vector, vector);
CREATE OPERATOR CLASS vector_l2_ops FOR TYPE vector USING hnsw AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_l2_squared_distance(vector, vector), FUNCTION 2 vector_l2_squared_distance(vector, vector),
  FUNCTION 3 vector_l2_squared_distance(vector, vector), FUNCTION 4 vector_l2_squared_distance(vector, vector),
  FUNCTION 5 vector_l2_squared_distance(vector, vector), FUNCTION 6 vector_l2_squared_distance(vector, vector),
  FUNCTION 7 vector_l2_squared_distance(vector, vector);
CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING hnsw AS
  OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_negative_inner_product(vector, vector), FUNCTION 2 vector_negative_inner_product(vector, vector),
  FUNCTION 3 vector_negative_inner_product(vector, vector), FUNCTION 4 vector_negative_inner_product(vector, vector),
  FUNCTION 5 vector_negative_inner_product(vector, vector), FUNCTION 6 vector_negative_inner_product(vector, vector),
  FUNCTION 7 vector_negative_inner_product(vector, vector);
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING hnsw AS
  OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 cosine_distance(vector, vector), FUNCTION 2 cosine_distance(vector, vector),
  FUNCTION 3 cosine_distance(vector, vector), FUNCTION 4 cosine_distance(vector, vector),
  FUNCTION 5 cosine_distance(vector, vector), FUNCTION 6 cosine_distance(vector, vector),
  FUNCTION 7 cosine_distance(vector, vector);
CREATE OPERATOR CLASS vector_l1_ops FOR TYPE vector USING hnsw AS
  OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 l1_distance(vector, vector), FUNCTION 2 l1_distance(vector, vector),
  FUNCTION 3 l1_distance(vector, vector), FUNCTION 4 l1_distance(vector, vector),
  FUNCTION 5 l1_distance(vector, vector), FUNCTION 6 l1_distance(vector, vector),
  FUNCTION 7 l1_distance(vector, vector);
