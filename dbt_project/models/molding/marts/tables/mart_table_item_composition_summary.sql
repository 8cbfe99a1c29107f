-- One row per item and recipe, with the names and types of the factory's own schema.
with compositions as (

    select * from {{ ref('stg_molding__item_composition_summary') }}

),

factory_compositions as (

    select
        item_code as "itemCode",
        item_name as "itemName",
        plastic_resin_code as "plasticResinCode",
        plastic_resin as "plasticResin",
        plastic_resin_kg_per_10000_pieces as "plasticResinQuantity",
        color_masterbatch_code as "colorMasterbatchCode",
        color_masterbatch as "colorMasterbatch",
        color_masterbatch_kg_per_10000_pieces as "colorMasterbatchQuantity",
        additive_masterbatch_code as "additiveMasterbatchCode",
        additive_masterbatch as "additiveMasterbatch",
        additive_masterbatch_kg_per_10000_pieces as "additiveMasterbatchQuantity",
    from compositions

)

select * from factory_compositions
