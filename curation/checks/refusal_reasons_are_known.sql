-- title: Every refusal gives a reason from the closed list.
-- severity: error
-- scope: delivery
SELECT kind, step, reason, count(*) AS n_rows
FROM refusals
WHERE NOT list_contains(known_reasons(), reason)
GROUP BY ALL
