-- title: No object stands in the lake twice.
-- severity: error
-- scope: delivery
SELECT instance_id, count(*) AS n_rows, list_sort(list(DISTINCT delivery)) AS deliveries
FROM instances
GROUP BY instance_id
HAVING count(*) > 1
