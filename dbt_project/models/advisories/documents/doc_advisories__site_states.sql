-- One row per state, with its meaning; the first of them concerns readers most.
with states as (

    select * from {{ ref('advisory_states') }}

),

descriptions as (

    select * from {{ ref('state_descriptions') }}

),

site_states as (

    select
        states.state,
        states.badness as state_rank,
        descriptions.description,
    from states
    left join descriptions on states.state = descriptions.state

)

select * from site_states
