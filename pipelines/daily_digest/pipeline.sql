-- Daily digest: one email at eight in the morning, where the customer lives, with what the makers that they follow have posted
-- since eight the day before, and none on a day without a post.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits five minutes for events that are under way, and
-- runs on after ten minutes without events, so that the morning comes in a quiet shop too.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  title       TEXT,
  url         TEXT,
  timezone    TEXT,  -- of the customer, such as 'Europe/Berlin'
  WATERMARK FOR ts AS ts - INTERVAL '5 minutes'
) WITH (connector = 'collector', idle_timeout = INTERVAL '10 minutes');

-- Where trigger rows go out: each becomes at most one email. News of the morning is sent until the evening.
CREATE TABLE digests WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = '{% if posts == 1 %}One new thing{% else %}{{ posts }} new things{% endif %} from makers you follow',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'digest',
  ttl       = INTERVAL '12 hours'
);

CREATE VIEW posts AS
SELECT *, coalesce(timezone, 'UTC') AS zone
FROM events
WHERE event = 'Update Posted'
  AND title <> '';  -- nor NULL: there would be nothing to read

-- A window is a day from eight to eight on the customer's clocks: 23 hours when summer time begins, 25 when it ends.
CREATE VIEW days AS
SELECT user_id,
       zone,
       tumble(INTERVAL '1 day', INTERVAL '8 hours', zone)                      AS w,
       count(*)                                                                AS posts,
       array_agg(named_struct('title', title, 'url', url) ORDER BY ts, title)  AS items,
       last_value(email      ORDER BY ts)                                      AS email,
       last_value(first_name ORDER BY ts)                                      AS first_name
FROM posts
GROUP BY user_id, zone, w;

INSERT INTO digests
SELECT user_id                                AS recipient_key,
       'digest:' || zone || ':' || w.end      AS dedupe_key,  -- one for each morning
       w.end                                  AS fire_ts,     -- the twelve hours of `ttl` count from here
       email,
       first_name,
       coalesce(local_date(w.end, zone), w.end::DATE)  AS day,
       posts,
       items[1:10]                            AS items        -- the first ten; `posts` counts them all
FROM days;
