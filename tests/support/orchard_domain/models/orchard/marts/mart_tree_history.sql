-- One row per tree and period in which its kind, harvest and note stayed the same.
with run as (

    select * from {{ ref('stg_orchard__run') }}

),

published as (

    select * from {{ ref('stg_orchard__history') }}

),

states as (

    select * from {{ ref('mart_trees') }}

),

periods as (

    {{ history(
        'published', 'states', 'run', 'tree_id',
        ['kind', 'kilograms', 'note'], ['tree_id', 'kind', 'kilograms', 'note']
    ) }}

)

select * from periods
