-- One row per package: its newest spelling, which is shown everywhere. That is the last one in the
-- vendor's feed; a package that it does not name has the last one of the rulings, or the history's.
with mentions as (

    select
        package_key,
        package_name,
        1 as source_rank,
        source_row as mention_order,
    from {{ ref('stg_advisories__echo') }}
    union all
    select
        package_key,
        package_name,
        2 as source_rank,
        source_row as mention_order,
    from {{ ref('int_advisories__rulings') }}
    where package_key is not null
    union all
    select
        package_key,
        package_name,
        3 as source_rank,
        epoch_us(effective_from) as mention_order,
    from {{ ref('stg_advisories__history') }}

),

spellings as (

    select
        package_key,
        package_name,
    from mentions
    qualify row_number() over (
        partition by package_key
        order by source_rank, mention_order desc, package_name
    ) = 1

)

select * from spellings
