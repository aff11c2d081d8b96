-- version: 1.5.11
-- relocatable: false
-- schema: graphql
CREATE FUNCTION graphql._internal_resolve(
  query text, variables jsonb DEFAULT '{}'::jsonb, "operationName" text DEFAULT NULL,
  extensions jsonb DEFAULT NULL) RETURNS jsonb VOLATILE;
CREATE FUNCTION graphql.resolve(
  query text, variables jsonb DEFAULT '{}'::jsonb, "operationName" text DEFAULT NULL,
  extensions jsonb DEFAULT NULL) RETURNS jsonb VOLATILE;
CREATE FUNCTION graphql.comment_directive(comment_ text) RETURNS jsonb IMMUTABLE;
CREATE FUNCTION graphql.exception(message text) RETURNS text VOLATILE;
CREATE SEQUENCE graphql.seq_schema_version AS integer CYCLE;
CREATE FUNCTION graphql.get_schema_version() RETURNS integer VOLATILE SECURITY DEFINER;
