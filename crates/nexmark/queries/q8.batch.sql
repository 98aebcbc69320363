-- Monitor new users: who joined and began an auction in the same ten seconds?
SELECT DISTINCT p.id, p.name, date_bin(INTERVAL '10 seconds', p.date_time) AS starttime
FROM person AS p
JOIN auction AS a
  ON p.id = a.seller
 AND date_bin(INTERVAL '10 seconds', p.date_time) = date_bin(INTERVAL '10 seconds', a.date_time)
