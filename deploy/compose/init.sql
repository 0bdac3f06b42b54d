CREATE DATABASE warehouse;
CREATE DATABASE shop;
\connect shop
CREATE TABLE orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total    numeric(12,2) NOT NULL,
    placed   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO orders (customer, total) VALUES ('Grace', 17.50), ('Edsger', 3.20);
