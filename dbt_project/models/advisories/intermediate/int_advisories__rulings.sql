-- One row per ruling that has not expired at the time of the run. An expired one counts no more
-- than a deleted one: a pair that it alone names is no advisory.
with rulings as (

    select * from {{ ref('stg_advisories__overrides') }}

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

rulings_in_force as (

    select rulings.*
    from rulings
    cross join run
    where coalesce(rulings.expires_at > run.as_of, true)

)

select * from rulings_in_force
