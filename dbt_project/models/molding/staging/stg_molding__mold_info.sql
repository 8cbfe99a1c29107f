-- One row per mold.
with source as (

    select * from {{ source('molding', 'mold_info') }}

),

renamed as (

    select
        "moldNo" as mold_no,
        "moldName" as mold_name,
        "moldCavityStandard" as standard_cavities,
        "moldSettingCycle" as setting_cycle_seconds,
        "machineTonnage" as machine_tonnages,
        "acquisitionDate" as acquisition_date,
        "itemsWeight" as items_weight_g,
        "runnerWeight" as runner_weight_g,
        source_sha256,
        source_row,
    from source

)

select * from renamed
