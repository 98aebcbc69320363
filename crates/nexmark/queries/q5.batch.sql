-- Hot items: a bid is in the five windows that began at most eight seconds before its own two seconds did.
WITH counted AS (
  SELECT auction, date_bin(INTERVAL '2 seconds', date_time) - back AS starttime, count(*) AS num
  FROM bid
  CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
                     (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS earlier (back)
  GROUP BY auction, starttime
)
SELECT auction, num
FROM (SELECT *, max(num) OVER (PARTITION BY starttime) AS maxn FROM counted)
WHERE num >= maxn
