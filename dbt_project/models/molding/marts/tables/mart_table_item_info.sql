-- One row per item, with the names and types of the factory's own schema.
with items as (

    select * from {{ ref('stg_molding__item_info') }}

),

factory_items as (

    select
        item_code as "itemCode",
        item_name as "itemName",
    from items

)

select * from factory_items
