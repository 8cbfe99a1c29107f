-- One row per package and time ahead at which a decision about it, or a warning, changes although
-- no source does.
with run as (

    select * from {{ ref('stg_advisories__run') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

rulings as (

    select * from {{ ref('int_advisories__rulings') }}
    where expires_at is not null

),

withdrawals as (

    select
        package_key,
        withdrawn_at as moment,
    from {{ ref('stg_advisories__osv') }}
    where package_key in (select u.package_key from universe as u)

),

expiries as (

    select
        universe.package_key,
        unnest([
            rulings.expires_at,
            rulings.expires_at - to_days({{ var('ruling_expiry_warn_days', 30) }})
        ]) as moment,
    from universe
    inner join rulings
        on
            universe.cve_id = rulings.cve_id
            and universe.package_key = coalesce(rulings.package_key, universe.package_key)

),

moments as (

    select * from withdrawals
    union all by name
    select * from expiries

)

select distinct
    moments.package_key,
    moments.moment,
from moments
cross join run
where moments.moment > run.as_of
