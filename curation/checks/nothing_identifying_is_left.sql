-- title: The second look found nothing that ought not to be there: no identifier, original date, foreign UID or wrong hash.
-- severity: error
-- scope: delivery
SELECT rule, place, kind, form, instance_id, report_id
FROM residuals
WHERE is_blocking
