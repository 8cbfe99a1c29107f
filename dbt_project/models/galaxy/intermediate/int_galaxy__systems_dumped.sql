-- One row per system that a dump names: its newest report, of equal ones that of the larger dump.
with last_day as (

    select * from {{ ref('stg_galaxy__systems') }}

),

all_systems as (

    select * from {{ ref('stg_galaxy__systems_all') }}

),

dumped as (

    select
        *,
        2 as preference,
    from last_day
    union all
    select
        *,
        1 as preference,
    from all_systems

),

newest as (

    select * exclude (preference)
    from dumped
    qualify row_number() over (
        partition by id64
        order by updated_at desc, preference
    ) = 1

)

select * from newest
