-- One row per body that a dump names: its newest report.
with last_day as (

    select * from {{ ref('stg_galaxy__bodies') }}

),

populated as (

    select * from {{ ref('stg_galaxy__populated_bodies') }}

),

dumped as (

    select
        *,
        1 as preference,
    from last_day
    union all
    select
        *,
        2 as preference,
    from populated

),

newest as (

    select * exclude (preference)
    from dumped
    qualify row_number() over (
        partition by system_id64, body_id
        order by updated_at desc, preference
    ) = 1

)

select * from newest
