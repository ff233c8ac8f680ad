-- NULL: no price was known.
ALTER TABLE usage_models ALTER COLUMN cost_micros DROP NOT NULL;
