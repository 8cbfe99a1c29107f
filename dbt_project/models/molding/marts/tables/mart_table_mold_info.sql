-- One row per mold, with the names and types of the factory's own schema.
with molds as (

    select * from {{ ref('stg_molding__mold_info') }}

),

factory_molds as (

    select
        mold_no as "moldNo",
        mold_name as "moldName",
        standard_cavities as "moldCavityStandard",
        setting_cycle_seconds as "moldSettingCycle",
        machine_tonnages as "machineTonnage",
        acquisition_date::timestamp_ns as "acquisitionDate",
        items_weight_g as "itemsWeight",
        runner_weight_g as "runnerWeight",
    from molds

)

select * from factory_molds
