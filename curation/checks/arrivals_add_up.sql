-- title: Everything that arrived became an instance, a report, a clinical fact or a refusal.
-- severity: error
-- scope: arrivals
-- arrival_counts(delivery, kind, n) is registered by the caller: what was seen ('arrived') and what became clinical
-- facts ('clinical'), which have no row of their own.
WITH arrived AS (
    SELECT delivery,
        coalesce(sum(n) FILTER (kind <> 'clinical'), 0) AS n_arrivals,
        coalesce(sum(n) FILTER (kind = 'clinical'), 0) AS n_clinical
    FROM arrival_counts GROUP BY ALL
),
accounted AS (
    SELECT delivery, count(*) AS n
    FROM (SELECT delivery FROM instances UNION ALL SELECT delivery FROM reports UNION ALL SELECT delivery FROM refusals)
    GROUP BY ALL
)
SELECT delivery, n_arrivals, coalesce(n, 0) AS n_rows, n_clinical
FROM arrived FULL JOIN accounted USING (delivery)
WHERE n_arrivals IS DISTINCT FROM coalesce(n, 0) + n_clinical
