-- Group roles and schemas.

-- == Functions and grants ==

-- Group roles of the production form. Roles belong to the whole cluster, so another database may have created them
-- already. An owner who may not create roles runs everything as one role; the grants in the other files are then skipped.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['verbatim_app', 'verbatim_projector', 'verbatim_auditor'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RAISE NOTICE 'role % does not exist and cannot be created', role_name;
        END;
    END LOOP;
END $$;

-- Writes that `append` runs in its own transaction, each a function `name(arguments jsonb) RETURNS void` in the file of
-- the module that owns the rows. No role has USAGE on this schema: these functions run through `append` only.
CREATE SCHEMA transactional_writes;
