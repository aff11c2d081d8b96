-- Entity Framework Core.
CREATE TABLE public."__EFMigrationsHistory" (
    "MigrationId" character varying(150) NOT NULL PRIMARY KEY, "ProductVersion" character varying(32) NOT NULL
);
INSERT INTO public."__EFMigrationsHistory" VALUES ('20240101000000_Init', '8.0.1');
