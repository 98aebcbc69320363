-- The tables of Nexmark. Events are at most four seconds out of order.
CREATE TABLE person (
  id            BIGINT NOT NULL,
  name          TEXT,
  email_address TEXT,
  credit_card   TEXT,
  city          TEXT,
  state         TEXT,
  date_time     TIMESTAMP NOT NULL,
  extra         TEXT,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'single_file', path = 'person.ndjson', format = 'json');

CREATE TABLE auction (
  id          BIGINT NOT NULL,
  item_name   TEXT,
  description TEXT,
  initial_bid BIGINT,
  reserve     BIGINT,
  date_time   TIMESTAMP NOT NULL,
  expires     TIMESTAMP NOT NULL,
  seller      BIGINT NOT NULL,
  category    BIGINT NOT NULL,
  extra       TEXT,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'single_file', path = 'auction.ndjson', format = 'json');

CREATE TABLE bid (
  auction   BIGINT NOT NULL,
  bidder    BIGINT NOT NULL,
  price     BIGINT NOT NULL,
  channel   TEXT,
  url       TEXT,
  date_time TIMESTAMP NOT NULL,
  extra     TEXT,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'single_file', path = 'bid.ndjson', format = 'json');

-- What query 13 looks auctions up in: no events, a fixed table.
CREATE TABLE side_input (
  key   BIGINT PRIMARY KEY,
  value TEXT
) WITH (connector = 'single_file', path = 'side_input.ndjson', format = 'json');
