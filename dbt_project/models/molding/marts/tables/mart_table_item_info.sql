-- One row per item, with the names and types of the factory's own schema.
with held as (

    select * from {{ ref('stg_molding__item_info') }}

),

named as (

    select
        item_code as "itemCode",
        item_name as "itemName",
    from held

)

select * from named
