-- One row per name with the page that was found for it; the text itself stays in the table.
with source as (

    select * from {{ source('transit', 'station_pages') }}

),

renamed as (

    select
        station_name as searched_name,
        title,
        length(page_text) as page_characters,
        source_sha256,
        source_row,
    from source

)

select * from renamed
