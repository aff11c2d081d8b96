-- refinery.
CREATE TABLE public.refinery_schema_history (
    version integer PRIMARY KEY, name character varying(255), applied_on character varying(255), checksum character varying(255)
);
INSERT INTO public.refinery_schema_history VALUES
    (1, 'initial', '2024-01-01T10:00:00.5+00:00', '1245309238429'), (2, 'more', '2024-01-01T12:00:00+02:00', '78');
