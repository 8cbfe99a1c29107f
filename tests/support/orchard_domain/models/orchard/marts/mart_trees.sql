-- One row per tree: what it bore in all years, and what is said of it.
with harvested as (

    select
        tree_id,
        sum(kilograms)::bigint as kilograms,
    from {{ ref('stg_orchard__harvests') }}
    group by tree_id

)

select
    trees.tree_id,
    trees.kind,
    trees.planted_on,
    coalesce(harvested.kilograms, 0) as kilograms,
    notes.note,
from {{ ref('stg_orchard__trees') }} as trees
left join harvested on trees.tree_id = harvested.tree_id
left join {{ ref('stg_orchard__notes') }} as notes on trees.tree_id = notes.tree_id
