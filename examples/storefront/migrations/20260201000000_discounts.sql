-- What version 2 needs. Only adds: version 1 keeps working on this schema while both run.
ALTER TABLE products ADD COLUMN discount_percent INTEGER NOT NULL DEFAULT 0;

CREATE TABLE coupons (
    code             TEXT    PRIMARY KEY,
    discount_percent INTEGER NOT NULL CHECK (discount_percent BETWEEN 1 AND 100)
) STRICT;
