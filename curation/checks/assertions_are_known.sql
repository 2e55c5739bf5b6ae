-- title: Every finding is asserted present, absent or uncertain.
-- severity: error
-- scope: delivery
SELECT finding, assertion, count(*) AS n_rows
FROM findings
WHERE assertion NOT IN ('present', 'absent', 'uncertain')
GROUP BY ALL
